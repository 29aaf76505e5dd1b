"""Applications of video networks: reading clips, classifying them, drawing pictures."""
