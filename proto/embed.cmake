# cmake -DFROM=descriptors.pb -DTO=proto_descriptors.c -P embed.cmake: a file as a C array.
file(READ ${FROM} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR length "${digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${TO} "#include \"proto_descriptors.h\"\nconst unsigned char proto_descriptors[] = {\n${bytes}};\nconst size_t proto_descriptors_bytes = ${length};\n")
