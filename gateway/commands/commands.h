/*
 * commands: what operators ask of a running gateway from the command line, through its admin listener: xebec status, reload
 * and rollout. Each is given main()'s arguments, prints, and returns the exit status: 0 done, 1 refused or not to be asked, 2
 * wrong usage.
 */
#ifndef XEBEC_COMMANDS_COMMANDS_H
#define XEBEC_COMMANDS_COMMANDS_H

int command_status(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_rollout(int argc, char **argv);

#endif
