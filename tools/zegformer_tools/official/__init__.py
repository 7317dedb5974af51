"""The official ZegFormer: a reference in PyTorch, an exporter to the page's bundle, and golden files.

Written anew from the paper (CVPR 2022, arXiv 2112.07910) and from the names and shapes in the published
checkpoint; no line comes from the authors' repository, whose licence (CC BY-NC 4.0) the weights share.
"""
