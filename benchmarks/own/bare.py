"""The least that answers a call: gRPC's own server with one answer in memory, in a process that does nothing else.

`bare.py`, with the answer on standard input; it prints its address, and answers GetDeployment until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

import grpc


async def main(answer: bytes) -> None:
    """Serve one answer to whoever asks."""

    async def get_deployment(request: bytes, context: object) -> bytes:
        del request, context
        return answer

    handler = grpc.unary_unary_rpc_method_handler(get_deployment)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("deedbook.v1.Registry", {"GetDeployment": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"grpc://127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.buffer.read()))
