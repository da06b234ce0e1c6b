"""How many entries may move."""

from dataclasses import dataclass

from torch import nn

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.equivalents import EncoderSize, Equivalents


@dataclass
class Budget:
    """K, the number of entries of a sparse fine-tuning, given in exactly one of three ways.

    Args:
        num_params: K itself.
        density: Share of the *maskable* entries, above 0 and at most 1; rounded to the nearest
            count.
        reduction_factor: The r of an adapter with as many parameters: K = layers · 2 · h² / r for
            hidden size h (Ansell et al., 2022, §4.3: 14,155,776 / r for a base model).
        invertible: Adds h² to a `reduction_factor`, the nominal size of MAD-X's invertible adapter.
            The paper's language SFTs: r = 2 with it gives 7,667,712 in a base model.

    Raises:
        LtsftError: If not exactly one of the three is given, or it is out of range.

    Example:
        >>> Budget(density=0.1).resolve(nn.Linear(9, 1), num_maskable=10)
        1
    """

    num_params: int | None = None
    density: float | None = None
    reduction_factor: float | None = None
    invertible: bool = False

    def __post_init__(self) -> None:
        expect_type("sparse.budget.num_params", self.num_params, int, "Budget(density=0.05)")
        for name in ("density", "reduction_factor"):
            value = getattr(self, name)
            expect_type(f"sparse.budget.{name}", value, (int, float), "Budget(density=0.05)")
        ways = {
            name: value
            for name in ("num_params", "density", "reduction_factor")
            if (value := getattr(self, name)) is not None
        }
        if len(ways) != 1:
            raise LtsftError(
                "`sparse.budget` is expected to have exactly one of `num_params`, `density` and "
                f"`reduction_factor`, but got {', '.join(ways) or 'none'}."
            )
        (name, value), *_ = ways.items()
        if name == "density" and not 0 < value <= 1:
            raise LtsftError(
                "`sparse.budget.density` is expected to be above 0 and at most 1 (a share of the "
                f"maskable entries), but got {value}."
            )
        if name == "num_params" and value < 1:
            raise LtsftError(
                f"`sparse.budget.num_params` is expected to be 1 or more, but got {value}; to "
                "train the head alone set `sparse.selection: NoEntries`."
            )
        if name == "reduction_factor" and not value > 0:
            raise LtsftError(
                f"`sparse.budget.reduction_factor` is expected to be above 0, but got {value}."
            )
        if self.invertible and name != "reduction_factor":
            raise LtsftError(
                "`sparse.budget.invertible` is expected beside `reduction_factor` only, but got it "
                f"beside `{name}`."
            )

    def resolve(self, module: nn.Module, num_maskable: int) -> int:
        """Compute K for a model.

        Args:
            module: The model; a `reduction_factor` reads ``config.num_hidden_layers`` and
                ``config.hidden_size`` of the first sub-module that has both.
            num_maskable: Number of maskable entries.

        Raises:
            LtsftError: If K exceeds `num_maskable`, or the model's size is needed but unknown.
        """
        if self.num_params is not None:
            count, asked_for = self.num_params, f"num_params: {self.num_params:,}"
        elif self.density is not None:
            count, asked_for = round(self.density * num_maskable), f"density: {self.density}"
        else:
            size = _size(module)
            assert self.reduction_factor is not None
            count = round(size.num_adapter_params / self.reduction_factor)
            count += size.num_invertible_params if self.invertible else 0
            asked_for = f"reduction_factor: {self.reduction_factor}"
        if count < 1:
            raise LtsftError(
                f"`sparse.budget` is expected to be at least one of the {num_maskable:,} maskable "
                f"entries, but {asked_for} asks for less; raise it."
            )
        if count > num_maskable:
            raise LtsftError(
                f"`sparse.budget` is expected to be at most the {num_maskable:,} maskable entries, "
                f"but {asked_for} asks for {count:,}; lower it, or make more parameters maskable "
                "(`sparse.scope`)."
            )
        return count

    def equivalents(self, module: nn.Module, num_maskable: int) -> Equivalents:
        """Say the same budget in all other ways.

        Args:
            module: The model.
            num_maskable: Number of maskable entries.

        Raises:
            LtsftError: As :meth:`resolve`.
        """
        return Equivalents(
            self.resolve(module, num_maskable),
            num_maskable=num_maskable,
            num_total=sum(parameter.numel() for parameter in module.parameters()),
            size=EncoderSize.of(module),
        )


def _size(module: nn.Module) -> EncoderSize:
    size = EncoderSize.of(module)
    if size is None:
        raise LtsftError(
            "`sparse.budget.reduction_factor` is expected to be used with a model whose `config` "
            f"has `num_hidden_layers` and `hidden_size`, but {type(module).__name__} has none; use "
            "`num_params` or `density`."
        )
    return size
