"""Files to configurations: what validate, render, explain, run and demo all begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate_cli import files
from tidegate_cli.manifests import Manifests, load, located
from tidegate_cli.problems import Problem, errors_in, in_order
from tidegate_operator.compile.compilation import Compilation
from tidegate_operator.compile.compiler import compile_snapshot, implied_workloads
from tidegate_operator.compile.unmatched import PassThrough
from tidegate_operator.index.snapshot import Workload
from tidegate_policy.model import WorkloadIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a set of files means.

    Attributes:
        manifests: the files as they were read.
        compilation: what the compiler makes of them; to be used only where there are no errors.
        problems: everything that is wrong, in order, warnings included.
        signature: what the files looked like just before they were read.
        unmatched: what a workload gets to which no policy applies; None: a denial.
    """

    manifests: Manifests
    compilation: Compilation
    problems: tuple[Problem, ...]
    signature: files.Signature
    unmatched: PassThrough | None = None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What keeps the files from being used."""
        return errors_in(self.problems)


class ChoiceError(ValueError):
    """The workload to speak for is not named, or not one that there is; the message lists the choices."""


def compile_files(paths: Sequence[Path], unmatched: PassThrough | None = None) -> Compiled:
    """Read and compile; never raises for what is written in the files."""
    before = files.signature(paths)
    manifests = load(paths)
    snapshot = manifests.snapshot
    compilation = compile_snapshot(
        replace(snapshot, workloads=(*snapshot.workloads, *implied_workloads(snapshot))), unmatched
    )
    # Of an object that could not be read, its own problems say it better than what follows from them.
    news = [it for it in compilation.diagnostics if it.source not in manifests.invalid]
    return Compiled(
        manifests=manifests,
        compilation=compilation,
        problems=in_order((*manifests.problems, *located(manifests, news))),
        signature=before,
        unmatched=unmatched,
    )


def choose(compiled: Compiled, name: str | None) -> Workload:
    """The workload called `name` (NAMESPACE/KIND/NAME); without a name the first, where all governed are treated alike.

    Raises:
        ChoiceError: nothing is called so, or workloads are treated differently and no name was given.
    """
    workloads = sorted(compiled.compilation.workloads, key=str)
    if name is not None:
        for workload in workloads:
            if str(workload).casefold() == name.casefold():
                return workload
        raise ChoiceError(
            f"--workload {name}: there is no such workload in the files.\n{_choices(workloads)}"
        )
    if not workloads:
        raise ChoiceError(
            "The files name no workload: give a policy targetRefs, or add a Deployment to the files."
        )
    classes = compiled.compilation.workloads
    # What no policy applies to is refused anyway: nobody means that when there is something else to serve.
    governed = [workload for workload in workloads if classes[workload].policies] or workloads
    if len({compiled.compilation.configs[classes[workload]] for workload in governed}) > 1:
        raise ChoiceError(f"The files apply differently to several workloads.\n{_choices(workloads)}")
    return governed[0]


def identity_of(workload: Workload) -> WorkloadIdentity:
    """Who a process speaks for when it plays the part of `workload`."""
    return WorkloadIdentity(
        namespace=workload.namespace,
        workload_kind=workload.kind,
        workload_name=workload.name,
        service_account=workload.service_account,
        labels=tuple(sorted(workload.labels.items())),
    )


def _choices(workloads: Sequence[Workload]) -> str:
    return "Choose one:\n" + "\n".join(f"  --workload {workload}" for workload in workloads)
