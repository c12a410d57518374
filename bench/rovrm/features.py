"""Writes random features, to time selection with: features.py FILE ROWS COLUMNS SEED (bfloat16, unit length, four clusters). Needs torch."""
import struct, sys, torch

path, rows, columns, seed = sys.argv[1], *map(int, sys.argv[2:])
device = "cuda" if torch.cuda.is_available() else "cpu"
random = torch.Generator(device).manual_seed(seed)
centres = torch.randn(4, columns, device=device, generator=torch.Generator(device).manual_seed(0))  # the same in every file
with open(path, "wb") as file:
    file.write(struct.pack("<8sqiiQ", b"XDSFEAT1", rows, columns, 1, 0).ljust(64, b"\0"))
    for first in range(0, rows, 8192):
        count = min(8192, rows - first)
        values = torch.randn(count, columns, device=device, generator=random)
        values += 0.5 * centres[torch.randint(4, (count,), device=device, generator=random)]
        values /= values.norm(dim=1, keepdim=True)
        file.write(values.bfloat16().view(torch.uint8).cpu().numpy().tobytes())
