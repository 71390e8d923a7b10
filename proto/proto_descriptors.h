/* A google.protobuf.FileDescriptorSet of the protos that the gateway's clients call, for server reflection; made by protoc-c. */
#ifndef XEBEC_PROTO_DESCRIPTORS_H
#define XEBEC_PROTO_DESCRIPTORS_H

#include <stddef.h>

extern const unsigned char proto_descriptors[];
extern const size_t proto_descriptors_bytes;

#endif
