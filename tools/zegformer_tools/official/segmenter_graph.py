"""The segmenter as an ONNX graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention_graph import attention_nodes, query_heads, scaled_query
from .graph import Graph
from .pixel_decoder import GroupedConv
from .resnet import Bottleneck, NormedConv, ResNet
from .segmenter import Predictor, Segmenter
from .shapes import SegmenterShape
from .transformer import DecoderLayer


@torch.no_grad()
def segmenter_graph(model: Segmenter) -> Graph:
    """pixels [1, 3, H, W] and position [1, C, h, w] to mask_logits, segment_embeddings, background_logits."""
    shape = model.shape
    graph = Graph("segmenter")
    pixels = graph.input("pixels", [1, 3, "H", "W"])
    position = graph.input("position", [1, shape.hidden, "h", "w"])
    features = _backbone(graph, pixels, model.backbone)
    decoder = model.sem_seg_head.pixel_decoder
    y = graph.relu(_grouped(graph, features[-1], "pixel_decoder.layer_4", decoder.layer_4))
    for level in (3, 2, 1):
        name = f"pixel_decoder.adapter_{level}"
        lateral = _grouped(graph, features[level - 1], name, getattr(decoder, f"adapter_{level}"))
        y = graph.node("Add", [lateral, _twice(graph, y, f"{name}.above")], f"{name}.joined")
        name = f"pixel_decoder.layer_{level}"
        y = graph.relu(_grouped(graph, y, name, getattr(decoder, f"layer_{level}")))
    last = decoder.mask_features
    mask_features = graph.conv(y, "pixel_decoder.mask_features", last.weight, last.bias)
    _predictor(graph, features[-1], mask_features, position, model.sem_seg_head.predictor, shape)
    return graph


def _backbone(graph: Graph, x: str, backbone: ResNet) -> list[str]:
    x = graph.relu(_folded(graph, x, "backbone.stem.conv1", backbone.stem.conv1))
    x = graph.node("MaxPool", [x], "backbone.stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    features = []
    for stage in ResNet.stages:
        for index, block in enumerate(getattr(backbone, stage)):
            x = _bottleneck(graph, x, f"backbone.{stage}.{index}", block)
        features.append(x)
    return features


def _bottleneck(graph: Graph, x: str, name: str, block: Bottleneck) -> str:
    y = graph.relu(_folded(graph, x, f"{name}.conv1", block.conv1))
    y = graph.relu(_folded(graph, y, f"{name}.conv2", block.conv2))
    y = _folded(graph, y, f"{name}.conv3", block.conv3)
    if block.shortcut is not None:
        x = _folded(graph, x, f"{name}.shortcut", block.shortcut)
    return graph.relu(graph.node("Add", [y, x], f"{name}.sum"))


def _folded(graph: Graph, x: str, name: str, conv: NormedConv) -> str:
    """The frozen normalisation goes into the kernel and a bias."""
    scale, shift = conv.norm.scale_and_shift()
    return graph.conv(x, name, conv.weight * scale[:, None, None, None], shift, stride=conv.stride[0])


def _grouped(graph: Graph, x: str, name: str, conv: GroupedConv) -> str:
    """Convolution and GroupNorm.

    A group is a block of rows of the map seen as [1, groups, rows, W]. Means are taken along W first and along the
    rows then: many short sums, where one long sum a group would keep a GPU waiting and lose digits. The deviation
    and the affine make one factor per channel.
    """
    y = graph.conv(x, name, conv.weight)
    groups, channels = conv.norm.num_groups, conv.norm.num_channels
    norm = f"{name}.norm"
    grouped = graph.reshape(y, [0, groups, -1, 0], f"{norm}.groups")
    mean = graph.mean(graph.mean(grouped, 3, f"{norm}.row_means"), 2, f"{norm}.mean")
    centred = graph.node("Sub", [grouped, mean], f"{norm}.centred")
    square = graph.node("Mul", [centred, centred], f"{norm}.square")
    variance = graph.mean(graph.mean(square, 3, f"{norm}.row_variances"), 2, f"{norm}.variance")
    safe = graph.node("Add", [variance, graph.weight(f"{norm}.epsilon", [conv.norm.eps])], f"{norm}.safe")
    deviation = graph.node("Sqrt", [safe], f"{norm}.deviation")
    gamma = graph.weight(f"{norm}.weight", conv.norm.weight.reshape(1, groups, channels // groups, 1))
    factor = graph.node("Div", [gamma, deviation], f"{norm}.factor_of_group")
    factor = graph.reshape(factor, [1, channels, 1, 1], f"{norm}.factor")
    y = graph.node("Mul", [graph.reshape(centred, [0, channels, -1, 0], f"{norm}.map"), factor], f"{norm}.scaled")
    return graph.node("Add", [y, graph.weight(f"{norm}.bias", conv.norm.bias.reshape(1, channels, 1, 1))], norm)


def _twice(graph: Graph, x: str, name: str) -> str:
    """Nearest neighbour to twice the size; the sides of the photo are multiples of 32, so it always fits."""
    scales = "scales_1_1_2_2"
    if scales not in graph.weights:
        graph.weight(scales, [1, 1, 2, 2])
    return graph.node(
        "Resize", [x, "", scales], name,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _predictor(
    graph: Graph, res5: str, mask_features: str, position: str, predictor: Predictor, shape: SegmenterShape
) -> None:
    def rows(x: str, name: str) -> str:
        """[1, C, h, w] to [1, h * w, C]."""
        return graph.transpose(graph.reshape(x, [0, 0, -1], f"{name}.flat"), (0, 2, 1), f"{name}.rows")

    projection = predictor.input_proj
    memory = rows(graph.conv(res5, "predictor.input_proj", projection.weight, projection.bias), "memory")
    keys = graph.node("Add", [memory, rows(position, "position")], "memory.keys")
    queries = predictor.query_embed.weight[None]
    embed = graph.weight("predictor.query_embed", queries)
    decoder = predictor.transformer.decoder
    x = ""
    for index, layer in enumerate(decoder.rows()):
        name = f"predictor.decoder.{index}"
        attention = layer.multihead_attn
        if index == 0:
            # The first layer starts from zeros: what its self-attention gives and what its queries ask are constants.
            start, q = _first_queries(layer, queries)
            x = graph.weight(f"{name}.start", start)
            heads = graph.weight(f"{name}.queries", q)
        else:
            asked = graph.node("Add", [x, embed], f"{name}.self_attn.queries")
            y = attention_nodes(graph, asked, asked, x, f"{name}.self_attn", layer.self_attn)
            x = _joined(graph, x, y, f"{name}.norm1", layer.norm1)
            asked = graph.node("Add", [x, embed], f"{name}.multihead_attn.queries")
            heads = query_heads(graph, asked, f"{name}.multihead_attn", attention)
        y = attention_nodes(graph, heads, keys, memory, f"{name}.multihead_attn", attention, split=False)
        x = _joined(graph, x, y, f"{name}.norm2", layer.norm2)
        y = graph.relu(graph.linear(x, f"{name}.linear1", layer.linear1.weight.T, layer.linear1.bias))
        y = graph.linear(y, f"{name}.linear2", layer.linear2.weight.T, layer.linear2.bias)
        x = _joined(graph, x, y, f"{name}.norm3", layer.norm3)
    hidden = graph.layer_norm(x, "predictor.decoder.norm", decoder.norm.weight, decoder.norm.bias)

    head = predictor.projection_layer
    y = graph.unit_rows(graph.linear(hidden, "predictor.projection_layer", head.weight.T, head.bias), "embeddings")
    background = predictor.logit_scale.exp() * predictor.bg_feature.T
    graph.output(y, "segment_embeddings", [1, shape.queries, shape.embedding])
    y = graph.linear("segment_embeddings", "predictor.bg_feature", background)
    graph.output(graph.reshape(y, [0, -1], "background"), "background_logits", [1, shape.queries])

    y = hidden
    for index, linear in enumerate(predictor.mask_embed.rows()):
        y = graph.linear(y, f"predictor.mask_embed.{index}", linear.weight.T, linear.bias)
        y = graph.relu(y) if index < 2 else y
    # One product a row of the map: so the map's sides need not be known to put it together again.
    y = graph.reshape(y, [1, 1, shape.queries, shape.conv_dim], "predictor.mask_embed.kernels")
    lines = graph.transpose(mask_features, (0, 2, 1, 3), "pixel_decoder.mask_features.lines")
    y = graph.node("MatMul", [y, lines], "predictor.masks.lines")
    masks = graph.transpose(y, (0, 2, 1, 3), "predictor.masks")
    graph.output(masks, "mask_logits", [1, shape.queries, "H/4", "W/4"])


def _first_queries(layer: DecoderLayer, queries: Tensor) -> tuple[Tensor, Tensor]:
    """The state after the first layer's self-attention, and the scaled queries of its cross-attention by head."""
    attention = layer.self_attn
    value = attention.in_proj_bias.chunk(3)[2]  # all values are zeros W + b, whatever the weights of the mean
    start = layer.norm1(attention.out_proj(value))[None, None]
    cross = layer.multihead_attn
    weight, bias = scaled_query(cross)
    q = (start + queries) @ weight + bias
    return start, q.reshape(1, queries.shape[1], cross.heads, -1).transpose(1, 2)


def _joined(graph: Graph, x: str, y: str, name: str, norm: nn.LayerNorm) -> str:
    """The residual sum, normalised."""
    return graph.layer_norm(graph.node("Add", [x, y], f"{name}.sum"), name, norm.weight, norm.bias)
