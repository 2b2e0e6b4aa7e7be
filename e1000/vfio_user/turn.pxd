"""A turn of serving cards, without Python."""
