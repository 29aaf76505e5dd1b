"""Applications of video networks: reading clips, classifying them, profiling models, drawing pictures."""
