// SPDX-License-Identifier: Apache-2.0

// Package terraform applies the Terraform module to an emulator of AWS, and lets
// the doctor look at what it made. Its tests have the build tag aws; they need
// terraform, and the provider hashicorp/aws from Terraform's registry or from a
// folder of plugins that TF_PLUGINS names:
//
//	go test -tags aws ./test/aws/terraform
package terraform
