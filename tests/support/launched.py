"""Processes of a launch, forked from the one that tests: they find imported what took it ten seconds to import."""

import os
import socket
from collections.abc import Callable

import torch
import torch.multiprocessing
from accelerate.state import AcceleratorState, PartialState


def launched(function: Callable[..., object], *given: object) -> None:
    """`function(rank, *given)` in two processes that talk over gloo; raises what one of them raises."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(_one, (function, port, given), nprocs=2, start_method="fork")


def _one(rank: int, function: Callable[..., object], port: int, given: tuple[object, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    AcceleratorState._reset_state(reset_partial_state=True)  # what it inherited says that it is alone
    PartialState(cpu=True)
    function(rank, *given)
    torch.distributed.destroy_process_group()
