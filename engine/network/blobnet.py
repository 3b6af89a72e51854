"""BlobNet, and its inference form, which computes the same function with a quarter less work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.game.encoding import STATE_DIM
from engine.game.rules import ACTIONS, MAX_PLAYERS

Weights = dict[str, NDArray[np.float32]]

ANSWERS = ACTIONS + MAX_PLAYERS
"""Numbers per position that the inference form returns: policy logits, then a value per seat."""

CAN_PACK = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
CAN_PACK_BFLOAT16 = CAN_PACK and torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Needs AVX-512 on x86: without it oneDNN refuses to pack bfloat16 weights."""
PACKED_FROM = 256 * 256
"""Number of weights from which the packed form of a float32 layer is faster."""
PACKED_ROWS = 192
"""Batch size that packed weights are optimised for; others work too."""


class NetworkConfig(NamedTuple):
    """The shape of a BlobNet; `--network EMB-LAYERS-HEADS-FF` on the command line."""

    embedding_dim: int = 256
    num_layers: int = 6
    num_heads: int = 8
    feedforward_dim: int = 1024

    @classmethod
    def parse(cls, text: str) -> NetworkConfig:
        """Read "256-6-8-1024". Raises ValueError with one line on anything else."""
        parts = text.split("-")
        if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(f"network must be EMB-LAYERS-HEADS-FF like 256-6-8-1024, not {text!r}")
        config = cls(*map(int, parts))
        if config.embedding_dim % config.num_heads:
            raise ValueError(
                f"network {text!r}: the embedding ({config.embedding_dim}) must be a multiple "
                f"of the heads ({config.num_heads})"
            )
        return config

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> NetworkConfig:
        """The shape of a BlobNet with these weights (arrays or tensors by name), with one head.

        Over a single token any number of heads computes the same. Raises ValueError for weights
        of another kind of network.
        """
        try:
            embedding_dim, _ = weights["embedding.weight"].shape
            feedforward_dim, _ = weights["layers.0.linear1.weight"].shape
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError("they are not those of a BlobNet") from None
        layers = sum(name.endswith(".linear1.weight") for name in weights)
        return cls(embedding_dim, layers, 1, feedforward_dim)

    def __str__(self) -> str:
        return "-".join(map(str, self))


class BlobNet(nn.Module):
    """Policy logits and a value for each seat, from one encoded position.

    A post-LN transformer encoder over a single token, then a policy and a value head.
    """

    def __init__(
        self,
        state_dim: int = STATE_DIM,
        embedding_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_dim: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = NetworkConfig(embedding_dim, num_layers, num_heads, feedforward_dim)
        self.embedding = nn.Linear(state_dim, embedding_dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                embedding_dim, num_heads, feedforward_dim, dropout, batch_first=True
            )
            for _ in range(num_layers)
        )
        self.policy_head = nn.Sequential(
            nn.Linear(embedding_dim, embedding_dim), nn.ReLU(), nn.Linear(embedding_dim, ACTIONS)
        )
        self.value_head = nn.Sequential(
            nn.Linear(embedding_dim, embedding_dim // 2),
            nn.ReLU(),
            nn.Linear(embedding_dim // 2, MAX_PLAYERS),
        )

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """[B, state_dim] to policy logits [B, ACTIONS] (unmasked) and value logits [B, 8].

        Value k, after a sigmoid, is the expected score ÷ (10 + cards) of the k-th seat from the
        mover; seats beyond the players mean nothing.
        """
        x = self.embedding(states)
        for layer in self.layers:
            x = encode_token(cast(nn.TransformerEncoderLayer, layer), x)
        return self.policy_head(x), self.value_head(x)


def encode_token(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """A post-LN encoder layer on one token a row, [B, D] to [B, D].

    Softmax over a single score is 1: queries and keys have no effect and get no gradient, so they
    are not computed. Equal to `layer(x.unsqueeze(1)).squeeze(1)`, gradients included.
    """
    attention = layer.self_attn
    dim, heads = attention.embed_dim, attention.num_heads
    values = F.linear(x, attention.in_proj_weight[2 * dim :], attention.in_proj_bias[2 * dim :])
    if layer.training and attention.dropout:
        # Dropout acts on the one attention weight of each head.
        weights = F.dropout(values.new_ones(len(x), heads, 1), attention.dropout)
        values = (values.view(len(x), heads, -1) * weights).view(len(x), dim)
    x = layer.norm1(x + layer.dropout1(attention.out_proj(values)))
    widened = layer.dropout(F.relu(layer.linear1(x)))
    return layer.norm2(x + layer.dropout2(layer.linear2(widened)))


class FoldedLinear(nn.Linear):
    """A linear layer of the inference form, with its activation or residual.

    On the CPU torch's own layer reorders all weights at every call in bfloat16, and uses a library
    for float32 that is slower on some CPUs. Here `pack` reorders them for oneDNN once, with the
    operators that torch's compiler uses.
    """

    packed: Tensor | None = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As torch's, for `.to` and the like; drops the packed form, which is out of date."""
        self.packed = None
        return super()._apply(fn, recurse)

    def pack(self) -> None:
        """Pack the current weights where that is possible and faster, else drop the packed form."""
        self.packed = None
        if self.weight.dtype is torch.bfloat16:
            faster = CAN_PACK_BFLOAT16
        else:
            faster = CAN_PACK and self.weight.numel() >= PACKED_FROM
        if self.weight.device.type == "cpu" and faster:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKED_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")

    def relu(self, x: Tensor) -> Tensor:
        """ReLU of the layer's output."""
        if self.packed is None:
            return F.relu(F.linear(x, self.weight, self.bias), inplace=True)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "relu", [], "")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer's output plus `residual`."""
        if self.packed is None:
            return F.linear(x, self.weight, self.bias) + residual
        operator = torch.ops.mkldnn._linear_pointwise.binary
        return operator(x, residual, self.packed, self.bias, "add")


class InferenceNet(nn.Module):
    """The inference form: the same function in fewer and larger matrix products.

    - Softmax over a single score is 1, so queries and keys cancel: x + Wo(Wv x + bv) + bo is
      (I + Wo Wv) x + (Wo bv + bo). The first layer's follows the embedding with nothing between:
      the two are one product.
    - Both heads read the same x: their hidden layers are one product, and so are their outputs,
      with zeros where one head's hidden layer meets the other's output.

    Equal to BlobNet in eval mode up to rounding.
    """

    def __init__(self, network: BlobNet) -> None:
        super().__init__()
        dim, wide = network.config.embedding_dim, network.config.feedforward_dim
        # Built on the network's device, which therefore need not be passed on.
        with torch.device(network.embedding.weight.device):
            self.embedding = FoldedLinear(network.embedding.in_features, dim)
            self.attention = nn.ModuleList(FoldedLinear(dim, dim) for _ in network.layers[1:])
            self.norm1 = nn.ModuleList(nn.LayerNorm(dim) for _ in network.layers)
            self.widen = nn.ModuleList(FoldedLinear(dim, wide) for _ in network.layers)
            self.narrow = nn.ModuleList(FoldedLinear(wide, dim) for _ in network.layers)
            self.norm2 = nn.ModuleList(nn.LayerNorm(dim) for _ in network.layers)
            self.hidden = FoldedLinear(dim, dim + dim // 2)
            self.heads = FoldedLinear(dim + dim // 2, ANSWERS)
        self.requires_grad_(False)
        self.eval()
        self.refold(network)

    @torch.no_grad()
    def refold(self, network: BlobNet) -> None:
        """Take over the weights of `network` in place: tensors keep device, dtype and address."""
        layers = cast(Sequence[nn.TransformerEncoderLayer], network.layers)
        (weight, bias), *others = [attention_and_residual(layer) for layer in layers]
        embedding = network.embedding
        set_linear(
            self.embedding,
            weight @ embedding.weight.double(),
            weight @ embedding.bias.double() + bias,
        )
        for mine, folded in zip(linears(self.attention), others, strict=True):
            set_linear(mine, *folded)
        for modules, name in (
            (self.norm1, "norm1"),
            (self.widen, "linear1"),
            (self.narrow, "linear2"),
            (self.norm2, "norm2"),
        ):
            for module, layer in zip(linears(modules), layers, strict=True):
                theirs = cast(nn.Linear, layer.get_submodule(name))
                set_linear(module, theirs.weight, theirs.bias)
        policy, value = linears(network.policy_head), linears(network.value_head)
        set_linear(
            self.hidden,
            torch.cat([policy[0].weight, value[0].weight]),
            torch.cat([policy[0].bias, value[0].bias]),
        )
        set_linear(
            self.heads,
            torch.block_diag(policy[2].weight, value[2].weight),
            torch.cat([policy[2].bias, value[2].bias]),
        )
        self.pack()

    def pack(self) -> Self:
        """Pack the layers' weights for speed; to be called again after `.to`."""
        for module in self.modules():
            if isinstance(module, FoldedLinear):
                module.pack()
        return self

    def forward(self, states: Tensor) -> Tensor:
        """[B, state_dim] to [B, ANSWERS]: policy logits, then the seats' values in [0, 1]."""
        x = self.norm1[0](self.embedding(states))
        widen, narrow = folded(self.widen), folded(self.narrow)
        for i in range(len(self.norm2)):
            if i:
                x = self.norm1[i](self.attention[i - 1](x))
            x = self.norm2[i](narrow[i].plus(widen[i].relu(x), x))
        answers: Tensor = self.heads(self.hidden.relu(x))
        answers[:, ACTIONS:].sigmoid_()
        return answers


def folded(layers: nn.ModuleList) -> Sequence[FoldedLinear]:
    """The same list, typed."""
    return cast(Sequence[FoldedLinear], layers)


def linears(modules: nn.Module) -> Sequence[nn.Linear]:
    """The same modules, typed as those of them that have weights."""
    return cast(Sequence[nn.Linear], modules)


def set_linear(module: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Write a weight and a bias in place, rounded once to the module's dtype."""
    module.weight.copy_(weight)
    module.bias.copy_(bias)


def attention_and_residual(layer: nn.TransformerEncoderLayer) -> tuple[Tensor, Tensor]:
    """I + Wo Wv [D, D] and Wo bv + bo [D] in float64: attention over one token, plus x."""
    attention = layer.self_attn
    dim = attention.embed_dim
    value_weight = attention.in_proj_weight[2 * dim :].double()
    value_bias = attention.in_proj_bias[2 * dim :].double()
    out_weight = attention.out_proj.weight.double()
    identity = torch.eye(dim, dtype=torch.float64, device=out_weight.device)
    return (
        identity + out_weight @ value_weight,
        out_weight @ value_bias + attention.out_proj.bias.double(),
    )


def weights_of(network: nn.Module) -> Weights:
    """A copy of the state dict as float32 numpy arrays, as sent to the workers."""
    return {k: v.detach().cpu().numpy().copy() for k, v in network.state_dict().items()}


def weights_hash(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """16 hex digits of a hash of the weights' names and numbers."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:16]


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Load arrays from `weights_of` in place, on the network's device."""
    device = next(network.parameters()).device
    network.load_state_dict({k: torch.from_numpy(v).to(device) for k, v in weights.items()})


def build_network(config: NetworkConfig, device: torch.device | str, seed: int = 0) -> BlobNet:
    """A BlobNet with seeded random weights, on `device`, in eval mode.

    Raises RuntimeError as torch does when the device is not there.
    """
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    network = BlobNet(STATE_DIM, *config)
    torch.random.set_rng_state(generator_state)
    return network.to(device).eval()
