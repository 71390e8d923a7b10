/*
 * rollout_judging: the canaries of all endpoints, looked at now and then. The rollouts' own; on the main thread.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_JUDGING_H
#define XEBEC_ROLLOUTS_ROLLOUT_JUDGING_H

struct rollouts;

/* Judges each as far as this gateway's duty goes, and changes what they decided. */
void rollouts_judge(struct rollouts *rollouts);

#endif
