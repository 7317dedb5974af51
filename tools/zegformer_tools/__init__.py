"""Python tools of ZegFormer in the browser: exporters and the training of the default model."""
