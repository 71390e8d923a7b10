/* xebec: a model-serving gateway. */
int main(void) { return 0; }
