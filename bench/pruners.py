"""The ways to keep the newest images of each repository that are measured beside `jettison prune`.

Each is a command on a registry at ``ADDRESS``. The loops are the usual ones: list the tags, ask for
the time of each image, sort, remove what comes after the newest. They are told the names of the
repositories or list them, whichever their program can.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.servers import JETTISON

__all__ = ["PRUNERS", "Pruner"]

SKOPEO: Final = """
set -euo pipefail
while read -r name; do
  image=docker://$ADDRESS/$name
  skopeo list-tags --tls-verify=false "$image" </dev/null | sed -n 's/^ *"\\([^"]*\\)",\\?$/\\1/p' |
    while read -r tag; do
      created=$(skopeo inspect --tls-verify=false --no-tags --format '{{.Created.Unix}}' \\
        "$image:$tag" </dev/null)
      echo "$created $tag"
    done | sort -rn | tail -n +$((KEEP + 1)) | while read -r _ tag; do
      skopeo delete --tls-verify=false "$image:$tag" </dev/null
    done
done <"$NAMES"
"""

REGCTL: Final = """
set -euo pipefail
regctl registry set --tls disabled "$ADDRESS" >/dev/null
regctl repo ls "$ADDRESS" | while read -r name; do
  regctl tag ls "$ADDRESS/$name" </dev/null | while read -r tag; do
    created=$(regctl image config --format '{{.Created.Unix}}' "$ADDRESS/$name:$tag" </dev/null)
    echo "$created $tag"
  done | sort -rn | tail -n +$((KEEP + 1)) | while read -r _ tag; do
    REMOVE </dev/null
  done
done
"""

REGBOT: Final = """\
version: 1
creds:
  - registry: ADDRESS
    tls: disabled
scripts:
  - name: newest
    timeout: 5h
    script: |
      for _, name in ipairs(repo.ls("ADDRESS")) do
        local found = {}
        for _, one in ipairs(tag.ls("ADDRESS/" .. name)) do
          local ref = reference.new("ADDRESS/" .. name .. ":" .. one)
          local config = image.config(manifest.get(ref))
          found[#found + 1] = {created = config.created, ref = ref}
        end
        table.sort(found, function(one, other) return one.created > other.created end)
        for place = KEEP + 1, #found do
          tag.delete(found[place].ref)
        end
      end
"""


class Pruner(NamedTuple):
    """A way to prune: its name, the program that it needs, and what it leaves undone."""

    name: str
    program: str
    script: str
    remark: str = ""

    def command(self, folder: Path, address: str, keep: int) -> list[str]:
        """Return the command; what it needs is written into ``folder``."""
        if self.program == JETTISON:
            options = ["--keep-last", str(keep), "--max-removal", "100%", "--yes"]
            return [JETTISON, "prune", address, *options]
        if self.program == "regbot":
            file = folder / "regbot.yml"
            script = self.script.replace("ADDRESS", address).replace("KEEP", str(keep))
            file.write_text(script, encoding="utf-8")
            return ["regbot", "--verbosity", "warn", "once", "--config", str(file)]
        return ["bash", "-c", self.script]

    def variables(self, folder: Path, address: str, keep: int) -> Mapping[str, str]:
        """Return what the script needs to know."""
        return {
            "ADDRESS": address,
            "KEEP": str(keep),
            "NAMES": str(folder / "names"),
            "REGCTL_CONFIG": str(folder / "regctl.json"),
        }


UNTAGS: Final = "leaves the manifests, untagged"
PRUNERS: Final = (
    Pruner("jettison prune", JETTISON, "", "and a journal to undo it, and a proof"),
    Pruner("skopeo inspect, skopeo delete", "skopeo", SKOPEO),
    Pruner(
        "regctl image config, regctl tag rm",
        "regctl",
        REGCTL.replace("REMOVE", 'regctl tag rm "$ADDRESS/$name:$tag"'),
        UNTAGS,
    ),
    Pruner(
        "regctl image config, regctl manifest rm",
        "regctl",
        REGCTL.replace(
            "REMOVE",
            'regctl manifest rm --force-tag-dereference "$ADDRESS/$name:$tag"',
        ),
    ),
    Pruner("regbot, one script", "regbot", REGBOT, UNTAGS),
)
