# The build that all images share. It runs on Packer 1.6.6, so that the tests run it, against a machine in namespaces;
# ami/packer/aws/provision.pkr.hcl has the same provisioners for EC2 (a test compares them), since a build block names its
# sources and cannot take them from a variable.

build {
  sources = ["source.null.host"]

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
}
