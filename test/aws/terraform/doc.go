// SPDX-License-Identifier: Apache-2.0

// Package terraform applies the Terraform module to an AWS emulator, and runs the
// doctor's checks on the result. Its tests have the build tag aws. They need
// terraform, and the provider hashicorp/aws from the Terraform registry or from the
// plugin folder TF_PLUGINS:
//
//	go test -tags aws ./test/aws/terraform
package terraform
