"""What holding promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer


class Holdable(Protocol):
    """What a hold has to know of a :class:`~ltsft.sparse.Ticket`."""

    module: nn.Module
    initial: dict[str, Tensor]
    parameters: dict[str, nn.Parameter]

    def initial_at(self, name: str) -> Tensor:
        """θ⁰ of a maskable parameter at the entries that may move, [K of it]."""

    @property
    def gradients_are_final(self) -> bool:
        """Whether nothing changes a gradient any more once a backward pass has made it."""

    def unselected(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, parameter and True where an entry may *not* move, of each maskable parameter."""

    def selected(self) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, parameter and flat positions of the entries that may move, of each maskable one."""


class Hold(ABC):
    """A way to train the selected entries and the whole parameters, and nothing else.

    A zero gradient does not freeze: weight decay, momentum and old optimizer state still move an
    entry. So whatever the optimizer does, after each of its steps every entry that is not selected
    is bit-equal to θ⁰.
    """

    def __str__(self) -> str:
        """The name that checkpoints give it."""
        return type(self).__name__

    needs_initial = True
    """Whether it goes on to need θ⁰ where entries are not selected, once it is attached."""

    @abstractmethod
    def attach(self, ticket: Holdable, optimizers: Iterable[Optimizer]) -> None:
        """Begin to hold; what was held before is let go.

        Args:
            ticket: θ⁰ and the mask, which is settled by then.
            optimizers: All that step the ticket's parameters.
        """

    @abstractmethod
    def mask_gradients(self) -> None:
        """Let no gradient of an unselected entry be left (μ ⊙ ∇L of Ansell et al., 2022, §3.1).

        Called after each backward pass, before gradients are clipped: their norm is to count what
        moves. Does nothing where nothing is held.
        """

    def mask_gradient(self, parameter: nn.Parameter) -> None:
        """The same for one maskable parameter, whose gradient was made just now."""
        self.mask_gradients()

    def stepped(self, ticket: Holdable) -> Iterator[tuple[Tensor, Tensor]]:
        """What optimizers step, and θ⁰ there, of all that trains and may move."""
        for name, parameter in ticket.parameters.items():
            yield parameter, ticket.initial[name]

    @abstractmethod
    def detach(self) -> None:
        """Hold no more, and leave optimizers as they were; a second call does nothing."""
