"""The mappings that come with tfpt, one YAML file each."""
