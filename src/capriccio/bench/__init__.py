"""Speed of this machine: how fast the networks train and generate, and what share of the convolution peak that is."""
