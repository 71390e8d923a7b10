//go:build tools

// Package grpcurl pins curl's counterpart for gRPC and what it needs; grpcurl.sh builds it.
package grpcurl

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
