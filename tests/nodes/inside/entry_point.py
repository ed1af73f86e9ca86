"""What the pack's entry point imports, beyond what ComfyUI has imported by then."""

from __future__ import annotations

import asyncio
import sys

import pack

import nodes as comfy_nodes

HEAVY = ("diffusers", "transformers", "huggingface_hub", "trimesh", "skimage", "av", "ray")


def heavy() -> set[str]:
    return {name for name in HEAVY if name in sys.modules}


before = heavy()
name = pack.load_pack()
after_root = heavy()


async def start() -> list[str]:
    extension = await sys.modules[name].comfy_entrypoint()
    return [
        node.GET_NODE_ID() if hasattr(node, "GET_NODE_ID") else node.__name__
        for node in await extension.get_node_list()
    ]


listed = asyncio.run(start())
pack.report(
    {
        "host": comfy_nodes.__file__,
        "by_root": sorted(after_root - before),
        "by_entry_point": sorted(heavy() - before),
        "nodes": len(listed),
    }
)
