"""Feature networks and perceptual distances: pictures to vectors that metrics, projection and detection read."""
