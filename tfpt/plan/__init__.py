"""Planning: mapping × source names × target specs → Plan(steps, findings)."""
