# The build of ami/packer/local/provision.pkr.hcl on EC2's public images. Packer 1.6.6 cannot read this folder.

build {
  name = "signet"

  source "amazon-ebs.host" {
    name         = "ubuntu-22.04"
    ami_name     = "signet-ubuntu-22.04-${local.time}"
    ssh_username = "ubuntu"
    tags         = { Name = "signet-ubuntu-22.04", BaseImage = "{{ .SourceAMI }}" }
    source_ami_filter {
      owners      = ["099720109477"] # Canonical
      most_recent = true
      filters = {
        name                = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  source "amazon-ebs.host" {
    name         = "ubuntu-24.04"
    ami_name     = "signet-ubuntu-24.04-${local.time}"
    ssh_username = "ubuntu"
    tags         = { Name = "signet-ubuntu-24.04", BaseImage = "{{ .SourceAMI }}" }
    source_ami_filter {
      owners      = ["099720109477"] # Canonical
      most_recent = true
      filters = {
        name                = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  source "amazon-ebs.host" {
    name         = "debian-12"
    ami_name     = "signet-debian-12-${local.time}"
    ssh_username = "admin"
    tags         = { Name = "signet-debian-12", BaseImage = "{{ .SourceAMI }}" }
    source_ami_filter {
      owners      = ["136693071363"] # Debian
      most_recent = true
      filters = {
        name                = "debian-12-amd64-*"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  source "amazon-ebs.host" {
    name         = "amazon-linux-2023"
    ami_name     = "signet-amazon-linux-2023-${local.time}"
    ssh_username = "ec2-user"
    tags         = { Name = "signet-amazon-linux-2023", BaseImage = "{{ .SourceAMI }}" }
    source_ami_filter {
      owners      = ["amazon"]
      most_recent = true
      filters = {
        name                = "al2023-ami-2023.*-x86_64"
        root-device-type    = "ebs"
        virtualization-type = "hvm"
      }
    }
  }

  # A folder of root's making: nobody else can have put anything into it.
  provisioner "shell" {
    inline = ["mkdir -m 0700 /tmp/signet-bake"]
  }

  provisioner "file" {
    source      = "${var.inputs}/"
    destination = "/tmp/signet-bake"
  }

  provisioner "file" {
    source      = "${path.root}/../../bake.sh"
    destination = "/tmp/signet-bake/bake.sh"
  }

  # Makes the machine trust the authority and proves it: certificate login works, a wrong principal and a revoked
  # certificate are refused, the break-glass key opens, nothing else does. Anything else fails the build.
  provisioner "shell" {
    inline = [
      "${var.root} sh /tmp/signet-bake/bake.sh -image /tmp/signet-bake ${var.bake_flags}",
      "${var.root} sh -c '${var.after_bake}'",
    ]
  }

  # Looks for keys and traces that an image must not carry. A finding fails the build.
  provisioner "shell" {
    inline = ["${var.root} /usr/local/bin/signet host scan -bill=/usr/local/share/signet/bill-of-trust.json"]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/usr/local/share/signet/bill-of-trust.json"
    destination = var.bill
  }

  post-processor "manifest" {
    output = "manifest.json"
  }
}
