"""What the kernel's DRM drivers tell in text files: shared by every backend whose driver is one of them."""
