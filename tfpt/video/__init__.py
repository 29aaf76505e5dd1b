"""What people do with video networks: clips, predictions, profiles, pictures."""
