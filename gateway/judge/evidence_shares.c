/* evidence_shares: the Dirichlet mixture's likelihood of the counts over that of the configured shares. */
#include "judge/evidence_shares.h"

#include <math.h>
#include <string.h>

static bool set_shares(struct shares *shares, const double *weights, uint32_t n_arms)
{
    double sum = 0;
    if (!n_arms || n_arms > SHARES_ARMS_MAX)
        return false;
    for (uint32_t i = 0; i < n_arms; i++) {
        if (!(weights[i] >= 0))
            return false;
        sum += weights[i];
    }
    if (!(sum > 0 && isfinite(sum)))
        return false;
    shares->n_arms = n_arms;
    for (uint32_t i = 0; i < n_arms; i++)
        shares->share[i] = weights[i] / sum;
    memset(shares->count, 0, sizeof shares->count);
    return true;
}

bool shares_init(struct shares *shares, const double *weights, uint32_t n_arms)
{
    *shares = (struct shares){0};
    return set_shares(shares, weights, n_arms);
}

bool shares_step(struct shares *shares, const double *weights, uint32_t n_arms)
{
    double log_e = shares_log_e(shares);
    if (!set_shares(shares, weights, n_arms))
        return false;
    shares->log_e_before = log_e;
    return true;
}

void shares_observe(struct shares *shares, uint32_t arm, uint64_t count)
{
    if (arm < shares->n_arms)
        shares->count[arm] += count;
}

/* One arm's part of log(mixture / best likelihood) + log(best likelihood / that of the shares). */
static double arm_log_e(double share, double count, double n)
{
    double prior = SHARES_PRIOR * share;
    return evidence_gamma_excess(count, prior) - evidence_gamma_excess(0, prior) +
           evidence_deviance(count, n * share);
}

double shares_log_e(const struct shares *shares)
{
    double n = 0, log_e = 0;
    for (uint32_t i = 0; i < shares->n_arms; i++)
        n += (double)shares->count[i];
    for (uint32_t i = 0; i < shares->n_arms; i++) {
        if (shares->share[i] > 0)
            log_e += arm_log_e(shares->share[i], (double)shares->count[i], n);
        else if (shares->count[i])
            return EVIDENCE_LOG_MOST;
    }
    log_e += evidence_gamma_excess(0, SHARES_PRIOR) - evidence_gamma_excess(n, SHARES_PRIOR);
    return evidence_clamp(shares->log_e_before + log_e);
}
