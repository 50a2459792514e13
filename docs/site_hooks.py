"""What the site needs beyond docs/: pages and files elsewhere in the repository, and the notebooks as pages.

Links in the Markdown files are those that work in the repository. On the site, a linked file from outside docs/ keeps
its path from the root of the repository.
"""

import json
import os
import posixpath
import re

from mkdocs.structure.files import File, InclusionLevel

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = ("deploy/README.md", "deploy/python/README.md", "deploy/cpp/README.md")
NOTEBOOKS = ("quickstart.ipynb", "photographs.ipynb")
OUTSIDE = set(PAGES)  # of docs/: pages that keep their path from the root of the repository
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    for name in PAGES:
        files.append(File.generated(config, name, abs_src_path=os.path.join(ROOT, name)))
    for name in NOTEBOOKS:
        source = files.get_file_from_path(name).abs_src_path
        files.append(File.generated(config, page_of(name), content=notebook_as_markdown(source)))
    for file in list(files.documentation_pages()):
        for target in linked_files(file.content_string, folder_of(file.src_uri)):
            if not target.startswith("docs/") and files.get_file_from_path(target) is None:
                source = os.path.join(ROOT, target)
                files.append(File.generated(config, target, abs_src_path=source, inclusion=InclusionLevel.NOT_IN_NAV))
                OUTSIDE.add(target)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between places in the repository into links between places on the site."""
    folder = folder_of(page.file.src_uri)

    def on_site(match):
        target = posixpath.normpath(posixpath.join(folder, match.group(2)))
        if os.path.isdir(os.path.join(ROOT, target)):
            target = posixpath.join(target, "README.md")
        uri = target[len("docs/") :] if target.startswith("docs/") else target
        uri = page_of(uri) if uri in NOTEBOOKS else uri
        if files.get_file_from_path(uri) is None:
            return match.group(0)  # for mkdocs to complain about
        start = posixpath.dirname(page.file.src_uri) or "."
        return match.group(1) + posixpath.relpath(uri, start) + match.group(3)

    return LINK.sub(on_site, markdown)


def page_of(notebook):
    return os.path.splitext(notebook)[0] + ".md"


def folder_of(uri):
    """Where in the repository a page of the site comes from."""
    return posixpath.dirname(uri if uri in OUTSIDE else "docs/" + uri)


def linked_files(markdown, folder):
    """The existing files of the repository that a page in ``folder`` links to."""
    for _, link, _ in LINK.findall(markdown):
        target = posixpath.normpath(posixpath.join(folder, link))
        if os.path.isfile(os.path.join(ROOT, target)):
            yield target


def notebook_as_markdown(path):
    """The cells of a notebook in their order, text and pictures that they printed included."""
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            for kind in ("image/jpeg", "image/png"):
                if kind in data:
                    parts.append(f'<img alt="output" src="data:{kind};base64,{"".join(data[kind]).strip()}">')
            text = "".join(output.get("text", data.get("text/plain", "") if len(data) == 1 else ""))
            if text:
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
