# A machine that is there already: the tests' hosts, or one of yours that is not on EC2.

variable "host" {
  type        = string
  description = "The machine's address."
}

variable "user" {
  type        = string
  default     = "root"
  description = "Whom to log in as."
}

variable "key" {
  type        = string
  description = "The private key of the build alone; the build removes its public half."
}

source "null" "host" {
  communicator         = "ssh"
  ssh_host             = var.host
  ssh_username         = var.user
  ssh_private_key_file = var.key
  ssh_timeout          = "30s"
}
