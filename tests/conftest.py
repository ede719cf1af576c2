"""Settings of the whole suite."""

import torch

# The runner already starts a process a core; torch's own threads on top only get in each other's way (three times slower).
torch.set_num_threads(1)
