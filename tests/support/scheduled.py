"""A tree that a server prunes by its schedule: builds, a policy and a configuration."""

from pathlib import Path

from tests.support.trees import NOW, Tree, repo

__all__ = ["DAY", "POLICY", "Builds"]

DAY = 86400.0
POLICY = "max_removal: 90%\nrules: [{tags: ['b*'], keep: {last: 2}, remove: rest}]\n"
_CONFIG = """
version: 0.1
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
jettison:
  {more}
  retention: {{policy: {policy}, {schedule}}}
"""


class Builds:
    """A tree of ``builds`` images, one a day, of which the policy keeps the newest two.

    ``schedule`` are keys of ``jettison.retention``, ``more`` is a line of ``jettison``.
    """

    def __init__(self, folder: Path, builds: int, *, schedule: str, more: str = "") -> None:
        self.tree = Tree(folder / "registry")
        self.policy = folder / "policy.yml"
        self.config = folder / "config.yml"
        self.policy.write_text(POLICY, encoding="utf-8")
        text = _CONFIG.format(root=self.tree.root, policy=self.policy, schedule=schedule, more=more)
        self.config.write_text(text, encoding="utf-8")
        for number in range(1, builds + 1):
            self.push(number)
        self.storage = self.tree.open()

    def push(self, number: int, repository: str = "app") -> None:
        """Push a build, with the time that is its number's."""
        when = NOW - (10 - number) * DAY
        content = f"{repository} {number}".encode()
        self.tree.image(repository, f"b{number}", [content], when=when)

    @property
    def tags(self) -> list[str]:
        with self.tree.open().repository(repo("app")) as reader:
            return sorted(reader.tags().current)
