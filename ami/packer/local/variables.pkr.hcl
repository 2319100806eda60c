# What every build of ours is told. Valid on Packer 1.6.6 (Debian 12) and later; ami/packer/aws has it by a link.

variable "inputs" {
  type        = string
  description = "The folder that ami/bake.sh describes: signet, trust-bundle, bundle_keys.pub, breakglass, ca_cert.pem."
}

variable "bake_flags" {
  type        = string
  default     = ""
  description = "Flags of `signet host bake` for this kind of host: -address=https://ca.example.com:8200 -tags=web"
}

variable "bill" {
  type        = string
  default     = "bill-of-trust.json"
  description = "Where to put the bill of trust: what the image trusts, and that it was proven."
}

variable "after_bake" {
  type        = string
  default     = "true"
  description = "A shell command of your own, run as root after the bake. What it leaves behind, the scan sees."
}

variable "root" {
  type        = string
  default     = "sudo -n"
  description = "How the login user becomes root; empty if it is root."
}
