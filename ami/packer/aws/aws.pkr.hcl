# EC2 by a Packer of today (1.9 or later): `packer init ami/packer/aws`, then `packer build -var inputs=FOLDER ami/packer/aws`,
# or one image with `-only='signet.amazon-ebs.debian-12'`. Credentials come from the environment, as with every AWS tool.

packer {
  required_version = ">= 1.9.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.2.8, < 2.0.0"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the image is built."
}

variable "subnet" {
  type        = string
  default     = null
  description = "The subnet to build in; the default one of the default VPC if none is given."
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "kms_key" {
  type        = string
  default     = null
  description = "The key that encrypts the image; the account's own EBS key if none is given."
}

locals {
  time = formatdate("YYYYMMDD-hhmmss", timestamp())
}

# What all images have in common. There is no ami_users, no ami_groups and no snapshot_users: nothing is shared with
# anybody until somebody does it on purpose.
source "amazon-ebs" "host" {
  region        = var.region
  subnet_id     = var.subnet
  instance_type = var.instance_type

  # Only the session-bound metadata service, while the image is built and for every instance of it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  encrypt_boot = true
  kms_key_id   = var.kms_key

  # The key of the build lives as long as the build.
  temporary_key_pair_type   = "ed25519"
  ssh_clear_authorized_keys = true
}
