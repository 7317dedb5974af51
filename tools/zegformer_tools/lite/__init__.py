"""The default model: a small ZegFormer trained from an ImageNet backbone and a sentence encoder."""
