"""Fits in which ranks share the model out (FSDP2)."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from typing_extensions import override

from ltsft.callbacks.fit import Fit
from ltsft.callbacks.language_sfts import LanguageSfts
from ltsft.errors import LtsftError
from ltsft.sparse import Compact, current_ranks
from ltsft.sparse.digest import tensor_digest
from ltsft.sparse.shard import sharing

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class FullySharded(ModelParallelStrategy):
    """FSDP2 for any module: its layers, and then the rest of it, are shared out over all ranks.

    Each rank keeps some rows of every parameter, of its gradient, optimizer state and θ⁰, and has a
    layer whole only while it computes with it. What a module shares out itself, in its
    ``configure_model``, is left as it is. See :func:`share_out`.

    Args:
        **settings: Of Lightning's ``ModelParallelStrategy``, but for the sizes of its mesh.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(tensor_parallel_size=1, **settings)

    @override
    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
        module = self.lightning_module
        assert module is not None
        configure = module.configure_model

        def configure_model() -> None:
            configure()
            share_out(module, self.device_mesh["data_parallel"])

        module.configure_model = configure_model  # type: ignore[method-assign]

    @override
    def teardown(self) -> None:
        vars(self.lightning_module).pop("configure_model", None)
        super().teardown()


def share_out(pl_module: LightningModule, mesh: "DeviceMesh") -> None:
    """Call ``fully_shard`` with each layer of a module's children, and then with each child.

    A layer is an item of an outermost ``nn.ModuleList``, as models of transformers are built of
    them; one that has weights in common with what is outside of it goes with the rest. What is
    shared out already stays as it is.

    Args:
        pl_module: Calls its children, not what is inside of them.
        mesh: Of one dimension.

    Raises:
        LtsftError: If two children have weights in common, which would come apart; or if ranks
            start from other weights, of which each would keep some rows.
    """
    from torch.distributed.fsdp import fully_shard  # takes a while, and few need it

    if any(True for _ in sharing(pl_module)):
        return
    children = list(_called(pl_module.children()))
    uses = Counter(p for child in children for p in set(child.parameters()))
    for name, parameter in pl_module.named_parameters():
        if uses[parameter] > 1:
            raise LtsftError(
                f"`trainer.strategy` is expected to be another than FullySharded for a module two "
                f"of whose parts share `{name}`; put them into one `nn.Module` that calls both, or "
                "train with DDP (`trainer.strategy: ddp`)."
            )
    start = [tensor_digest(p) for p in pl_module.parameters() if not p.is_meta]
    current_ranks().check_equal(start, "what each rank starts from")
    for child in children:
        for layer in _layers(child):
            if not _has_in_common(layer, child):
                fully_shard(layer, mesh=mesh)
        if any(True for _ in child.parameters()):
            fully_shard(child, mesh=mesh)


def _called(modules: Iterator[nn.Module]) -> Iterator[nn.Module]:
    """Modules, and in place of lists of them what is in these: nobody calls a list."""
    for module in modules:
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            yield from _called(module.children())
        else:
            yield module


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The items of outermost lists in a module."""
    for child in module.children():
        yield from _called(child.children()) if isinstance(child, nn.ModuleList) else _layers(child)


def _has_in_common(layer: nn.Module, module: nn.Module) -> bool:
    """Whether a layer has weights that are elsewhere in the module, too."""
    inside = [id(parameter) for _, parameter in layer.named_parameters(remove_duplicate=False)]
    everywhere = module.named_parameters(remove_duplicate=False)
    return sum(id(parameter) in inside for _, parameter in everywhere) > len(inside)


def check_sharded(fit: Fit, trainer: Trainer) -> None:
    """Refuse what cannot be done where ranks share the model out, before anything trains.

    Args:
        fit: Its module has all its layers.
        trainer: The fit's.

    Raises:
        LtsftError: If something has to see whole tensors, or to name vectors in place of them.
    """
    ranks = current_ranks(fit.root)
    if not ranks.hold_shards:
        return
    ranks.check_supports(fit.program.selection, "sparse.selection")
    ranks.check_supports(fit.program.rewinding, "sparse.rewinding")
    for stop in fit.stops:
        ranks.check_supports(stop, "sparse.until_settled")
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(callback, LanguageSfts) and callback.sfts for callback in callbacks):
        raise LtsftError(
            "`languages.sfts` is expected to be left out where parameters are sharded (FSDP2); "
            "train on several languages with DDP (`trainer.strategy: ddp`)."
        )
    if trainer.checkpoint_callbacks and isinstance(fit.hold_of_sparse, Compact):
        raise LtsftError(
            "`sparse.hold` is expected to be `Masked` where parameters are sharded (FSDP2) and "
            "checkpoints are written, which cannot name vectors of selected entries; set it, or "
            "`trainer.enable_checkpointing: false`."
        )


def check_begins(fit: Fit, trainer: Trainer) -> None:
    """Refuse to go on from a checkpoint where ranks share the model out.

    Lightning loads it late there, once θ⁰ was taken and optimizers were made for the first phase.

    Raises:
        LtsftError: If there is one.
    """
    if trainer.ckpt_path is not None and fit.ticket.ranks.hold_shards:
        raise LtsftError(
            "`ckpt_path` is expected to be left out where parameters are sharded (FSDP2): a "
            "checkpoint has the fit's state of one rank; begin anew, or train with DDP "
            "(`trainer.strategy: ddp`)."
        )
