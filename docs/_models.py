"""A page of each model in `examples/`: its docstring, its code as one cell, and a link to the file."""

import ast
import json
from pathlib import Path

FIGURES = {"figure1"}  # not models to copy from

PAGE = """---
file_format: mystnb
kernelspec:
  name: python3
---

# {title}

{text}

```{{code-cell}} ipython3
---
mystnb:
  image:
    alt: {alt}
---
{code}
```

The file: {{download}}`examples/{name}.py <{path}>`.
"""


def write_model_pages(examples: Path, pages: Path) -> list[str]:
    """Write the page of each model; returns their names. Pages of models that are gone are deleted."""
    models = [p for p in sorted(examples.glob("*.py")) if p.stem not in FIGURES]
    pages.mkdir(exist_ok=True)
    for page in pages.glob("*.md"):
        page.unlink()
    for model in models:
        source = model.read_text()
        docstring = ast.parse(source).body[0]
        title, _, text = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
        code = "".join(source.splitlines(keepends=True)[docstring.end_lineno :])
        title = title.rstrip(".")
        page = PAGE.format(
            title=title,
            text=text.strip(),
            alt=json.dumps(f"The picture that this model draws: {title}"),
            code=code.strip(),
            name=model.stem,
            path=Path("../../examples", model.name),
        )
        (pages / f"{model.stem}.md").write_text(page)
    return [model.stem for model in models]
