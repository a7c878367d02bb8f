"""What is wrong with a training run or an installation, in words, with evidence and advice."""
