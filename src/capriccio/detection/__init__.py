"""Did this network make this picture? Reconstruction, calibrated error rates, verdicts."""
