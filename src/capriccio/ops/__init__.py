"""Pure tensor functions: no parameters, no state, differentiable twice, and they compile without graph breaks."""
