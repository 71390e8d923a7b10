"""A conformance suite for the Open Inference Protocol, version 2: REST, gRPC, and Triton's extension for binary tensors.

    clauses    what a clause is, the list of them, and what may come of one
    target     the server that is asked: its model as the metadata tells of it, and requests that must work
    wire       HTTP/1.1, byte by byte where that is what is tested;  tensors: datatypes, values, shapes
    rest, rest_refusals, rest_http, rest_binary, rpc     the clauses
    report     for people, and as JSON
"""
