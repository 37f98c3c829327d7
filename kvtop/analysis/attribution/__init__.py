"""Who holds which bytes: measured memory divided into segments, device by device."""
