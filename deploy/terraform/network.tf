# The workers speak to Google's APIs and are spoken to by Google's health checks, nothing else. With
# Private Google Access that takes no address of their own and no NAT; so there is none, and whatever
# went wrong in a worker could not reach the internet.

locals {
  own_network = local.vms && var.subnetwork == null ? 1 : 0
  subnetwork  = local.own_network == 1 ? google_compute_subnetwork.workers[0].self_link : var.subnetwork
  network     = local.own_network == 1 ? google_compute_network.workers[0].self_link : (local.vms ? data.google_compute_subnetwork.given[0].network : null)
  http_port   = 8080
}

resource "google_compute_network" "workers" {
  count = local.own_network

  #checkov:skip=CKV2_GCP_18:its firewall is health_checks below, which names it through a local; all else is denied
  name                    = "${var.name}-workers"
  auto_create_subnetworks = false

  depends_on = [google_project_service.this]
}

resource "google_compute_subnetwork" "workers" {
  count = local.own_network

  #checkov:skip=CKV_GCP_26:its only traffic is with Google's own APIs; a log of each connection would cost more than the machines
  #checkov:skip=CKV_GCP_76:no IPv6 in this network
  name                     = "${var.name}-workers"
  region                   = var.region
  network                  = google_compute_network.workers[0].id
  ip_cidr_range            = "10.83.0.0/20"
  private_ip_google_access = true
}

data "google_compute_subnetwork" "given" {
  count = local.vms && var.subnetwork != null ? 1 : 0

  self_link = var.subnetwork
}

resource "google_compute_firewall" "health_checks" {
  count = local.vms ? 1 : 0

  name                    = "${var.name}-health-checks"
  network                 = local.network
  description             = "Google's health checkers to the workers' /healthz"
  direction               = "INGRESS"
  source_ranges           = ["35.191.0.0/16", "130.211.0.0/22"]
  target_service_accounts = [google_service_account.worker.email]

  allow {
    protocol = "tcp"
    ports    = [tostring(local.http_port)]
  }
}

resource "google_compute_firewall" "scrapes" {
  count = local.vms && length(var.scrape_ranges) > 0 ? 1 : 0

  name                    = "${var.name}-scrapes"
  network                 = local.network
  description             = "A Prometheus in this network to the workers' /metrics"
  direction               = "INGRESS"
  source_ranges           = var.scrape_ranges
  target_service_accounts = [google_service_account.worker.email]

  allow {
    protocol = "tcp"
    ports    = [tostring(local.http_port)]
  }
}

resource "google_compute_firewall" "ssh" {
  count = local.vms && var.ssh_through_iap ? 1 : 0

  name                    = "${var.name}-ssh"
  network                 = local.network
  description             = "gcloud compute ssh --tunnel-through-iap, for those who have the roles"
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"]
  target_service_accounts = [google_service_account.worker.email]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
