"""Mathematics typeset by KaTeX while the site is built: pages need no script, and an equation that is wrong is an error."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

KATEX = Path(__file__).parent / "node" / "node_modules" / "katex"
SCRIPT = """
const katex = require(process.argv[1]);
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const [tex, displayMode] = JSON.parse(line);
  let answer;
  try { answer = {html: katex.renderToString(tex, {displayMode, strict: "error"})}; }
  catch (error) { answer = {error: String(error)}; }
  console.log(JSON.stringify(answer));
});
"""
_renderers: dict[int, subprocess.Popen[str]] = {}  # one for each process


def typeset(tex: str, *, display: bool) -> str:
    """HTML of an equation in TeX."""
    if os.getpid() not in _renderers:
        command = ["node", "-e", SCRIPT, str(KATEX)]
        _renderers[os.getpid()] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    process = _renderers[os.getpid()]
    process.stdin.write(json.dumps([tex, display]) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise ExtensionError(f"KaTeX cannot set {tex!r}: {answer['error']}")
    return answer["html"]


def _inline(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    translator.body.append(typeset(node.astext(), display=False))
    raise nodes.SkipNode


def _block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    tex = node.astext()
    if "\\\\" in tex and "\\begin" not in tex:
        lines = "aligned" if "&" in tex else "gathered"
        tex = f"\\begin{{{lines}}}{tex}\\end{{{lines}}}"
    html = typeset(tex, display=True)
    label = f' id="{node["ids"][0]}"' if node["ids"] else ""
    translator.body.append(f'<div class="equation"{label}>{html}</div>')
    raise nodes.SkipNode


def _copy_fonts(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", "katex")
        shutil.copytree(KATEX / "dist" / "fonts", target / "fonts", dirs_exist_ok=True)
        shutil.copy(KATEX / "dist" / "katex.min.css", target)


def setup(app: Sphinx) -> dict[str, bool]:
    if not KATEX.exists() or shutil.which("node") is None:
        raise ExtensionError("node and KaTeX are needed: docs/build fetches KaTeX")
    app.add_html_math_renderer("katex", (_inline, None), (_block, None))
    app.add_css_file("katex/katex.min.css")
    app.connect("build-finished", _copy_fonts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
