"""Augmentation inside training: pictures changed at random before the discriminator sees them, differentiably."""
