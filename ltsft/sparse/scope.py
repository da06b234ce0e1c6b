"""Which parameters take part: maskable, whole or frozen.

*Maskable* parameters are changed in at most K entries, chosen over all of them together. *Whole*
parameters (task heads, freshly initialised layers) train in every entry and are saved as they are.
*Frozen* parameters never move.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import nn

from ltsft.errors import LtsftError, expect_type
from ltsft.sparse.names import named_parameters

_NUM_NAMES_SHOWN = 2


@dataclass(frozen=True)
class Scope:
    """The names of a module's parameters by the part they play; each tied weight once.

    Args:
        maskable: Parameters of which K entries are chosen.
        whole: Parameters that train entirely.
        frozen: Parameters that stay at their initial value.
    """

    maskable: tuple[str, ...]
    whole: tuple[str, ...]
    frozen: tuple[str, ...]

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of all parameters that may move in the dense phase."""
        return self.maskable + self.whole

    def describe(self, module: nn.Module) -> str:
        """Say by count and first names what moves in part, wholly or not at all.

        Args:
            module: The module that the names are of.

        Example:
            >>> model = nn.ModuleDict({"encoder": nn.Linear(9, 9), "head": nn.Linear(9, 1)})
            >>> print(ScopeRules(whole=["head"]).resolve(model).describe(model))
            maskable: 90 entries (encoder.weight, encoder.bias); whole: 10 (head.weight, \
head.bias); frozen: none
        """
        sizes = {name: parameter.numel() for name, parameter in named_parameters(module)}

        def part(names: tuple[str, ...], unit: str = "") -> str:
            if not names:
                return "none"
            shown = ", ".join(names[:_NUM_NAMES_SHOWN])
            more = ", …" if len(names) > _NUM_NAMES_SHOWN else ""
            return f"{sum(sizes[name] for name in names):,}{unit} ({shown}{more})"

        return (
            f"maskable: {part(self.maskable, ' entries')}; whole: {part(self.whole)}; frozen: "
            f"{part(self.frozen)}"
        )


@dataclass
class ScopeRules:
    """Rules that sort a module's parameters into a :class:`Scope`.

    A rule is one of

    * ``type:GLOB``: parameters held directly by a module whose class, or one of its base classes,
      has a matching name (``type:*Norm`` finds every LayerNorm and RMSNorm whatever it is called in
      the model; going by parameter name misses XLM-R's ``lm_head.layer_norm``);
    * a glob over the full parameter name (``*.bias``);
    * a dotted prefix (``classifier`` matches ``classifier.weight``, not ``classifier2.weight``).

    Where several match, frozen wins over whole, and whole over maskable. Parameters with
    ``requires_grad=False`` are frozen whatever the rules say.

    Args:
        maskable: Rules for maskable parameters. ``None``: all that no other rule takes; with a
            list, parameters that no rule takes are frozen.
        whole: Rules for parameters that train entirely.
        frozen: Rules for parameters that stay.

    Example:
        >>> model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
        >>> ScopeRules(whole=["head"], frozen=["*.bias"]).resolve(model)
        Scope(maskable=('encoder.weight',), whole=('head.weight',), \
frozen=('encoder.bias', 'head.bias'))
    """

    maskable: list[str] | None = None
    whole: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("maskable", "whole", "frozen"):
            example = f'ScopeRules({name}=["head"])'
            expect_type(f"sparse.scope.{name}", getattr(self, name), (list, tuple), example)

    def resolve(self, module: nn.Module) -> Scope:
        """Sort the parameters of `module`.

        Raises:
            LtsftError: If a rule matches no parameter.
        """
        aliases = _aliases(module)

        def taken_by(rules: list[str], role: str) -> set[str]:
            taken: set[str] = set()
            for rule in rules:
                hits = matched_by(module, rule)
                if not hits:
                    raise LtsftError(
                        f"`scope.{role}` is expected to hold rules that match parameters, but "
                        f"{rule!r} matches none of the {len(aliases)} (names look like "
                        f"{', '.join(list(aliases)[:3])}); correct or remove the rule."
                    )
                taken |= hits
            return taken

        frozen, whole = taken_by(self.frozen, "frozen"), taken_by(self.whole, "whole")
        frozen |= {n for n, p in module.named_parameters() if not p.requires_grad}
        maskable = None if self.maskable is None else taken_by(self.maskable, "maskable")

        def role(name: str) -> str:
            if name in frozen:
                return "frozen"
            if name in whole:
                return "whole"
            return "maskable" if maskable is None or name in maskable else "frozen"

        roles = {name: role(name) for name in aliases}
        return Scope(
            *(
                tuple(n for n in aliases if roles[n] == part)
                for part in ("maskable", "whole", "frozen")
            )
        )


def freeze(module: nn.Module, scope: Scope) -> Callable[[], None]:
    """Stop the gradients of frozen parameters, so that no optimizer moves them.

    Returns:
        Undoes it.
    """
    parameters = dict(named_parameters(module))
    stopped = [p for name in scope.frozen if (p := parameters[name]).requires_grad]
    for parameter in stopped:
        parameter.requires_grad_(False)

    def undo() -> None:
        for parameter in stopped:
            parameter.requires_grad_(True)

    return undo


def matched_by(module: nn.Module, rule: str) -> set[str]:
    """Names of the parameters that a rule of :class:`ScopeRules` takes; each tied weight once."""
    aliases, owners = _aliases(module), _owner_classes(module)
    return {name for name in aliases if _matches(rule, aliases[name], owners[name])}


def owned_by(module: nn.Module, type_glob: str) -> set[str]:
    """Names of the parameters held directly by modules whose class name matches `type_glob`."""
    return matched_by(module, f"type:{type_glob}")


def tied_names(module: nn.Module) -> dict[str, list[str]]:
    """Each parameter that has more than one name: its first name -> all its names."""
    return {first: names for first, names in _aliases(module).items() if len(names) > 1}


def _aliases(module: nn.Module) -> dict[str, list[str]]:
    """First name of each parameter -> all its names (more than one where weights are tied)."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in named_parameters(module, remove_duplicate=False):
        names[id(parameter)].append(name)
    return {all_names[0]: all_names for all_names in names.values()}


def _owner_classes(module: nn.Module) -> dict[str, set[str]]:
    """First name of each parameter -> names of the classes (with bases) of its owning modules."""
    first = {id(p): name for name, p in named_parameters(module)}
    classes: dict[str, set[str]] = {name: set() for name in first.values()}
    for child in module.modules():
        for parameter in child.parameters(recurse=False):
            classes[first[id(parameter)]] |= set(_class_names(child))
    return classes


def _class_names(module: nn.Module) -> Iterator[str]:
    return (cls.__name__ for cls in type(module).__mro__ if cls not in (nn.Module, object))


def _matches(rule: str, names: list[str], classes: set[str]) -> bool:
    if rule.startswith("type:"):
        return any(fnmatchcase(cls, rule.removeprefix("type:")) for cls in classes)
    if any(character in rule for character in "*?["):
        return any(fnmatchcase(name, rule) for name in names)
    return any(name == rule or name.startswith(rule + ".") for name in names)
