variable "project" {
  description = "The Google Cloud project, by its id."
  type        = string
}

variable "region" {
  description = "Where workers, images and, unless bucket_location says otherwise, buckets are."
  type        = string
  default     = "us-central1"
}

variable "name" {
  description = "What everything's name begins with."
  type        = string
  default     = "photos"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.name))
    error_message = "Must be 3 to 19 of a-z, 0-9 and '-', beginning with a letter (a service account's id is made of it)."
  }
}

variable "image" {
  description = "The worker's image in Artifact Registry, with its digest: REGION-docker.pkg.dev/...@sha256:...; empty: everything but workers."
  type        = string
  default     = ""

  validation {
    condition     = var.image == "" || can(regex("^[a-z0-9-]+-docker\\.pkg\\.dev/[^@]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Must be REGION-docker.pkg.dev/...@sha256:DIGEST. A tag can move, and machines that start later would run something else; other registries are out of the workers' reach."
  }
}

variable "workers" {
  description = "What runs the image: vms (spot machines that follow the backlog) or cloud-run (a worker pool of fixed size)."
  type        = string
  default     = "vms"

  validation {
    condition     = contains(["vms", "cloud-run"], var.workers)
    error_message = "Must be vms or cloud-run."
  }
}

# --- Buckets and events ---

variable "bucket_location" {
  description = "Location of the buckets; the workers' region costs no network."
  type        = string
  default     = null
}

variable "originals_bucket" {
  description = "Name of the bucket for originals, which is made here; null: PROJECT-NAME-originals."
  type        = string
  default     = null
}

variable "renditions_bucket" {
  description = "Name of the bucket for renditions, which is made here; null: PROJECT-NAME-renditions."
  type        = string
  default     = null
}

variable "other_originals_buckets" {
  description = "Buckets of originals that exist already: workers may read them, and they notify as the one made here does."
  type        = set(string)
  default     = []
}

variable "notifications" {
  description = "Whether each upload to and deletion from the originals' buckets is an event by itself. False: only the gallery publishes."
  type        = bool
  default     = true
}

variable "cors_origins" {
  description = "Origins of web pages that may read renditions by script; none: no CORS rule."
  type        = list(string)
  default     = []
}

variable "output_prefix" {
  description = "The folder of the renditions' bucket that all output lies under (WORKER_OUTPUT_PREFIX)."
  type        = string
  default     = "photos/"

  validation {
    condition     = can(regex("^[^/].*/$", var.output_prefix))
    error_message = "Must be a folder such as photos/."
  }
}

variable "destroy_buckets" {
  description = "Whether terraform destroy deletes buckets with what is in them."
  type        = bool
  default     = false
}

variable "max_delivery_attempts" {
  description = "Deliveries until Pub/Sub gives a message up. Drains and vanished machines count as attempts."
  type        = number
  default     = 15

  validation {
    condition     = var.max_delivery_attempts >= 10 && var.max_delivery_attempts <= 20
    error_message = "Must be 10 to 20: fewer lose photos to a row of preemptions, more hold a poisoned one for hours."
  }
}

variable "bigquery_outcomes" {
  description = "Whether each outcome becomes a row of a BigQuery table."
  type        = bool
  default     = false
}

# --- Who may do what ---

variable "publishers" {
  description = "Who may publish events, such as serviceAccount:gallery@PROJECT.iam.gserviceaccount.com."
  type        = set(string)
  default     = []
}

variable "operators" {
  description = "Who may look at, replay and purge dead letters, sweep and verify, such as group:photo-operators@example.com."
  type        = set(string)
  default     = []
}

variable "readers" {
  description = "Who may read renditions: the gallery's servers or its CDN. The bucket itself is never public."
  type        = set(string)
  default     = []
}

# --- Workers ---

variable "settings" {
  description = "More settings of the worker by variable, such as { WORKER_QUALITY = \"75\" } (docs/settings.md)."
  type        = map(string)
  default     = {}

  validation {
    condition = length(setintersection(keys(var.settings), [
      "WORKER_DRAIN_SECONDS", "WORKER_HTTP_PORT", "WORKER_OUTPUT_PREFIX", "WORKER_PREEMPTION_NOTICE",
    ])) == 0
    error_message = "Drain, port, prefix and preemption notice are set here: time-outs, health checks and lifecycle rules depend on them."
  }
}

variable "machine_type" {
  description = "Machine type of the VMs. Where it has other memory than 16 GB, set container_memory_mib too."
  type        = string
  default     = "c2d-standard-4"
}

variable "spot" {
  description = "Whether the VMs are spot VMs: a fourth of the price, and taken away with 30 seconds' notice."
  type        = bool
  default     = true
}

variable "zones" {
  description = "Zones of the VMs; none: the region's, as Compute Engine chooses."
  type        = list(string)
  default     = []
}

variable "boot_image" {
  description = "Container-Optimized OS; new machines take the family's newest."
  type        = string
  default     = "projects/cos-cloud/global/images/family/cos-stable"
}

variable "container_memory_mib" {
  description = "Memory of the worker's container, its scratch folder included; the rest is the system's."
  type        = number
  default     = 14336
}

variable "scratch_mib" {
  description = "Size of the container's /tmp, which is in memory: originals in flight and their renditions."
  type        = number
  default     = 3072

  validation {
    condition     = var.scratch_mib * 2 <= var.container_memory_mib
    error_message = "Must be at most half of container_memory_mib: what lies there is missing for rendering."
  }
}

variable "min_vms" {
  description = "Fewest VMs. 0: none while nothing waits, and three to five minutes until the first photo is begun. 1: at once."
  type        = number
  default     = 0
}

variable "max_vms" {
  description = "Most VMs. Above 36 a new bucket is the limit, not the machines (docs/scale.md)."
  type        = number
  default     = 10
}

variable "backlog_per_vm" {
  description = "Waiting messages for each VM. A c2d-standard-4 renders 165 photos a minute, so 600 are four minutes' work."
  type        = number
  default     = 600
}

variable "warm_hours" {
  description = "VMs that run at certain hours whatever the backlog, for events that are known: name to cron schedule, zone, duration and number."
  type = map(object({
    schedule         = string
    time_zone        = string
    duration_seconds = number
    vms              = number
  }))
  default = {}
}

variable "subnetwork" {
  description = "Self link of an existing subnetwork of this project with Private Google Access; null: a network of its own without a way to the internet."
  type        = string
  default     = null
}

variable "ssh_through_iap" {
  description = "Whether gcloud compute ssh --tunnel-through-iap reaches the VMs. Nothing needs it but curiosity."
  type        = bool
  default     = false
}

variable "scrape_ranges" {
  description = "Addresses from which a Prometheus may read /metrics of the VMs, such as 10.0.0.0/24; none: nobody."
  type        = set(string)
  default     = []

  validation {
    condition     = !contains(var.scrape_ranges, "0.0.0.0/0")
    error_message = "Must be ranges within the network."
  }
}

variable "cloud_run_instances" {
  description = "Instances of the Cloud Run worker pool; it doesn't follow the backlog by itself (docs/deploy.md)."
  type        = number
  default     = 1
}

variable "cloud_run_cpus" {
  description = "vCPUs of each Cloud Run instance."
  type        = number
  default     = 4
}

variable "cloud_run_memory_mib" {
  description = "Memory of each Cloud Run instance, its /tmp included."
  type        = number
  default     = 8192
}

# --- Watching ---

variable "alert_emails" {
  description = "Who is told by mail."
  type        = set(string)
  default     = []
}

variable "notification_channels" {
  description = "Notification channels that exist already (PagerDuty, Slack ...), by their full names."
  type        = list(string)
  default     = []
}

variable "longest_wait_minutes" {
  description = "How long a photo may wait until somebody is told. From zero VMs the first takes about five."
  type        = number
  default     = 20
}

variable "normal_dead_letters" {
  description = "Dead letters that may wait without anybody being told: some, where people upload what they like."
  type        = number
  default     = 0
}

variable "runbook_url" {
  description = "Address of docs/operations.md as your people see it, for links in alerts; empty: its file name."
  type        = string
  default     = ""
}
