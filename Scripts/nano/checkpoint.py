"""Writing the files of a model in the family's published layout."""

import hashlib
import shutil

from safetensors.torch import save_file

UNSUMMED = ("SHA256SUMS", "README.md")


def write_weights(path, state):
    """Floats are rounded to bf16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    path.unlink(missing_ok=True)
    save_file({name: value.contiguous().cpu() for name, value in rounded.items()}, path, {"format": "pt"})
    path.chmod(0o644)


def write_sums(folder):
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in UNSUMMED)
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def write_changed(model, out, states):
    """Copies a model's folder with other weights in some of its files, {path in the folder: state}; everything else
    stays byte for byte."""
    shutil.copytree(model, out, dirs_exist_ok=True)
    for path, state in states.items():
        write_weights(out / path, state)
    write_sums(out)
