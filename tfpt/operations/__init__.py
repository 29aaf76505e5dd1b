"""What a row does to values: layouts and the other operations, on shapes and on arrays."""
