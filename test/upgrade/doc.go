// SPDX-License-Identifier: Apache-2.0

// Package upgrade replays a quarter of CAST AI's releases: a chart repository whose
// versions appear over time, the scheduled mirror, and upgrades that take each version
// after a lag.
//
// Time is virtual: releases, runs and faults are events in order. The runs are real: the
// chart repository, the public registry and the stand-in for ECR are servers, and each run
// plans and copies as `privatelink mirror --track` does. A run takes no virtual time.
package upgrade
